import { readdirSync, readFileSync } from "node:fs";
import { createDecoder } from "@weir/agent/decode/create-decoder";
import type { DecodeSink, TopicMapping } from "@weir/agent/decode/decoder";
import { newTopic } from "@weir/agent/decode/topic";
import * as assert from "uvu/assert";
import { dataSetPath, requireDataSets } from "../support/data-sets.ts";
import { suite } from "../support/suite.ts";

// Seriot's JSONTestSuite: y_ must parse, n_ must not, i_ is left to the parser.
const VECTORS = "hostile/json";

/** What one payload becomes; reading or refusal, in order. */
function decode(payload: Uint8Array, format: TopicMapping["format"]): string[] {
  const told: string[] = [];
  const sink: DecodeSink = {
    resolve: () => 0,
    push: (_, tsMs, value) => void told.push(`${tsMs} ${value}`),
    reject: (reason) => void told.push(`!${reason}`),
  };
  const mapping = {
    template: "{device}/{metric}",
    format,
    timeUnit: "auto",
    site: "s",
    device: "",
    metric: "",
  } as const;
  const bytes = Buffer.from(payload);
  createDecoder([mapping])(newTopic("d/m"), bytes, 0, bytes.length, 1, sink);
  return told;
}

if (requireDataSets(VECTORS)) {
  const test = suite("decode: hostile JSON");
  const files = readdirSync(dataSetPath(VECTORS)).filter((name) => name.endsWith(".json"));
  const read = (name: string): Buffer => readFileSync(dataSetPath(`${VECTORS}/${name}`));

  test("has the vectors", () => {
    assert.ok(files.length > 300, `${files.length} files`);
    for (const kind of ["y_", "n_", "i_"])
      assert.ok(
        files.some((name) => name.startsWith(kind)),
        kind,
      );
  });

  test("refuses every n_ vector, once, as malformed", () => {
    for (const name of files.filter((file) => file.startsWith("n_"))) {
      const bytes = read(name);
      const expected = bytes.length === 0 ? "!payload_empty" : "!json_malformed";
      assert.equal(decode(bytes, "json"), [expected], name);
    }
  });

  test("calls no y_ vector malformed", () => {
    for (const name of files.filter((file) => file.startsWith("y_"))) {
      const told = decode(read(name), "json");
      assert.ok(told.length >= 1 && !told.includes("!json_malformed"), `${name}: ${told.join(" ")}`);
    }
  });

  test("answers every vector in every format the same way twice, with finite numbers or refusals", () => {
    for (const name of files) {
      for (const format of ["json", "auto", "number"] as const) {
        const told = decode(read(name), format);
        assert.equal(told, decode(read(name), format), name);
        assert.ok(told.length >= 1 && !/NaN|Infinity/.test(told.join(" ")), name);
      }
    }
  });

  test("refuses text that is not UTF-8", () => {
    for (const name of [
      "i_string_invalid_utf-8.json",
      "i_string_overlong_sequence_2_bytes.json",
      "i_string_truncated-utf-8.json",
    ]) {
      assert.equal(decode(read(name), "json"), ["!json_malformed"], name);
    }
  });
}
