import * as assert from "uvu/assert";
import { Progress } from "@weir/agent/import/progress";
import { suite } from "../support/suite.ts";

const test = suite("progress of an import");

function shown(isTTY: boolean): {
  readonly progress: Progress;
  readonly texts: string[];
  readonly pass: (ms: number) => void;
} {
  let nowMs = 1000;
  const texts: string[] = [];
  const progress = new Progress({ isTTY, write: (text) => texts.push(text) }, () => nowMs);
  return { progress, texts, pass: (ms) => void (nowMs += ms) };
}

test("on a terminal a bar, written over, with rate and time left; cleared at the end", () => {
  const { progress, texts, pass } = shown(true);
  progress.update(0, 0);
  pass(100);
  progress.update(0.01, 10);
  assert.equal(texts, []);
  pass(9900);
  progress.update(0.25, 1_250_000);
  assert.equal(texts, ["\r[######------------------] 25 %, 1,250,000 rows, 125,000 rows/s, 0:30 left\u001b[K"]);
  progress.clear();
  progress.clear();
  assert.is(texts.length, 2);
  assert.is(texts[1], "\r\u001b[K");
});

test("elsewhere a line every few seconds", () => {
  const { progress, texts, pass } = shown(false);
  for (let second = 0; second < 16; second++) {
    progress.update(second / 7200, second * 1000);
    pass(1000);
  }
  assert.is(texts.length, 3);
  assert.is(texts[0], "0 %, 5,000 rows, 1,000 rows/s, 1:59:55 left\n");
  progress.clear();
  assert.is(texts.length, 3);
});

test("the time left goes by what this run has done, not by what was skipped", () => {
  const { progress, texts, pass } = shown(false);
  progress.update(0.25, 0);
  progress.update(0.5, 0);
  pass(10_000);
  progress.update(0.75, 100);
  assert.match(texts[0]!, /, 0:10 left/);
});
