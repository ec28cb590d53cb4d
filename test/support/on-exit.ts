const tasks: Array<() => void> = [];

/** Runs `task`, synchronously, when this process exits: normally, by an error, or by SIGINT, SIGTERM or SIGHUP. */
export function onExit(task: () => void): void {
  if (tasks.length === 0) {
    process.on("exit", () => {
      for (const each of tasks) each();
    });
    // By themselves these signals would end the process without its exit hooks.
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => process.exit(1));
  }
  tasks.push(task);
}
