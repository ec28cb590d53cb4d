import { cpSync, existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Store } from "@weir/agent/store/store";
import * as assert from "uvu/assert";
import { eventually } from "../support/eventually.ts";
import { runToEnd, sourceFlags, startProcess } from "../support/processes.ts";
import { isCi, repositoryRoot } from "../support/repository.ts";
import { skipWith, suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";
import { connectDevice, LIVE_MS, writeTopics } from "./recorded-run.ts";
import { readingsOf } from "./stored-readings.ts";

const test = suite("full disk", { timeoutMs: 60_000 });

const PRLIMIT = "/usr/bin/prlimit";
/** No file of the agent may be longer: less than the 4 MiB at which the write-ahead log begins anew. In 512 bytes. */
const FILE_BLOCKS_MAX = 2048;

function requirePrlimit(): boolean {
  if (existsSync(PRLIMIT)) return true;
  const remedy = `${PRLIMIT} is missing; install it with: apt-get install util-linux`;
  if (isCi()) throw new Error(`Tests of a full disk must run where CI=true, but ${remedy}`);
  skipWith("tests of a full disk", remedy);
  return false;
}

/** Which readings a copy of the agent's files holds. */
function storedIn(folder: string, fromMs: number): Uint8Array {
  const copy = join(tempFolder(), "data");
  cpSync(folder, copy, { recursive: true });
  const store = new Store(join(copy, "agent.db"), { readonly: false });
  try {
    return readingsOf(store, { imported: 0, fromMs });
  } finally {
    store.close();
  }
}

if (requirePrlimit()) {
  test("an agent that cannot write acknowledges nothing, says so once, and goes on when there is room", async () => {
    const folder = tempFolder("weir-full-");
    const main = join(repositoryRoot, "agent", "src", "main.ts");
    const settings = {
      "data.dir": folder,
      "agent.id": "gateway-1",
      "listen.port": "0",
      "checkpoint.interval": "200ms",
    };
    const flags = Object.entries(settings).flatMap(([key, value]) => [`--${key}`, value]);
    const command = [process.execPath, ...sourceFlags, main, "run", ...flags, "-c", writeTopics(tempFolder())];
    const agent = await startProcess("/bin/sh", ["-c", `ulimit -S -f ${FILE_BLOCKS_MAX}; exec "$@"`, "sh", ...command]);
    const [, port] = await agent.waitForOutput(/MQTT endpoint .*:(\d+)/);
    const complaints = (): number => agent.stdout().match(/Cannot write the data file/g)?.length ?? 0;

    const fromMs = Math.floor(Date.now() / 1000) * 1000 - LIVE_MS;
    const device = await connectDevice(Number(port));
    let readings = 0;
    const publish = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) device.publish(++readings, fromMs);
      await sleep(4);
    };
    await eventually(
      async () => {
        await publish(50);
        if (complaints() === 0) throw new Error(`${readings} readings fit`);
      },
      { timeoutMs: 30_000, intervalMs: 1 },
    );
    for (let i = 0; i < 20; i++) await publish(50);
    // Longer than a second, after which the write is tried again.
    await sleep(2500);
    const acknowledged = device.acknowledged();
    assert.ok(acknowledged > 100 && acknowledged < readings, `${acknowledged} of ${readings} are acknowledged`);
    assert.is(complaints(), 1);
    // As if the power went now.
    const stored = storedIn(folder, fromMs);
    for (let place = 0; place < acknowledged; place++)
      assert.is(stored[device.sent[place]!], 1, `reading ${place + 1}`);

    const raised = await runToEnd(PRLIMIT, ["--pid", String(agent.pid), "--fsize=unlimited:unlimited"]);
    assert.is(raised.code, 0, raised.stderr);
    await eventually(() => assert.is(device.acknowledged(), readings), { timeoutMs: 10_000 });
    assert.match(agent.stdout(), /The data file can be written again/);
    assert.is(complaints(), 1);
    device.socket.destroy();
    assert.is((await agent.stop()).code, 0);
    assert.is(
      storedIn(folder, fromMs)
        .subarray(1, readings + 1)
        .indexOf(0),
      -1,
      "every reading is in the log",
    );
  });
}
