import { readFileSync } from "node:fs";

/** What Linux counts CPU time in: USER_HZ is 100 on every machine Node runs on. */
const TICKS_PER_SECOND = 100;

const MIB = 1024;

/** CPU time of a process with all its threads since its start, s. Throws when it has ended. */
export function cpuSeconds(pid: number): number {
  const [user = 0, system = 0] = statFields(pid).slice(11, 13).map(Number);
  return (user + system) / TICKS_PER_SECOND;
}

/** CPU time of the children of this process that have ended, s. */
export function endedChildrenCpuSeconds(): number {
  const [user = 0, system = 0] = statFields(process.pid).slice(13, 15).map(Number);
  return (user + system) / TICKS_PER_SECOND;
}

/** CPU time of everything on this machine since it was started, s, over all cores. */
export function machineBusySeconds(): number {
  const line = readFileSync("/proc/stat", "utf8").split("\n", 1)[0]!;
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = line.split(/\s+/).slice(1).map(Number);
  return (user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND;
}

/** Memory of a process, MiB: resident now, and the most there ever was. */
export function memoryMib(pid: number): { readonly rss: number; readonly peak: number } {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const kib = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status)?.[1] ?? NaN);
  return { rss: kib("VmRSS") / MIB, peak: kib("VmHWM") / MIB };
}

/** The fields of /proc/PID/stat from the third on: the second is a name that may hold blanks and parentheses. */
function statFields(pid: number): string[] {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}
