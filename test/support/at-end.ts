/** One thing to do when the tests of this process are over: stop a server, remove a folder. */
export type EndTask = () => void | Promise<void>;

const tasks: EndTask[] = [];

/** Registers `task` to run once after the last test of this file, newest first. Used by the helpers in this folder. */
export function atEnd(task: EndTask): void {
  tasks.push(task);
}

/** Runs and forgets every registered task, newest first. Returns the errors they threw; never throws itself. */
export async function runAtEnd(): Promise<Error[]> {
  const errors: Error[] = [];
  for (let task = tasks.pop(); task !== undefined; task = tasks.pop()) {
    try {
      await task();
    } catch (error) {
      errors.push(error instanceof Error ? error : new Error(String(error)));
    }
  }
  return errors;
}
