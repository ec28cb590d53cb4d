import * as assert from "uvu/assert";
import { requireServer } from "../support/servers.ts";
import { smallDisk } from "../support/small-disk.ts";
import { skipWith, suite } from "../support/suite.ts";
import { runProcesses } from "./run-processes.ts";

const test = suite("faults, in processes, more seeds", { timeoutMs: 5 * 60_000 });

const hasBroker = requireServer("mosquitto");
const disk = smallDisk(1);
if (disk) disk.remove();
else skipWith("faults of a full disk in processes", "a small file system can only be mounted by root");

for (let seed = 1; seed <= 8; seed++) {
  const broker = seed % 2 === 0;
  if (broker && !hasBroker) continue;
  test(`seed ${seed}, ${broker ? "through a broker that is restarted" : "straight to the agent"}`, async () => {
    const { problems } = await runProcesses(seed, { broker });
    assert.is(problems.join("\n"), "");
  });
}
