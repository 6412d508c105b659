import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { formatValues, gibibytes, modelNameOf } from "./chart-values.js";

describe("formatValues", () => {
  it("writes YAML that reads as what was given", () => {
    const values = {
      text: ["true", "1e3", "12", "a: b # c", 'quote " and \\', "line\nbreak", ""],
      number: 1_099_511_627_776,
      map: { inner: { deep: "x" }, list: [{ name: "a", of: { them: 1 } }, { name: "b" }], nested: [[1, 2], ["x"]] },
    };
    expect(parse(formatValues(["comment"], values))).toEqual(values);
  });

  it("keeps a comment a comment, whatever a name holds", () => {
    expect(parse(formatValues(["a folder\nattention: {replicas: 9}\r\nx: 1"], { replicas: 1 }))).toEqual({ replicas: 1 });
  });
});

describe("gibibytes", () => {
  it("rounds up, to one at least", () => {
    expect([0, 1, 2 ** 30, 2 ** 30 + 1, 20.33e9].map(gibibytes)).toEqual(["1Gi", "1Gi", "1Gi", "2Gi", "19Gi"]);
  });
});

describe("modelNameOf", () => {
  it("is a released model's name, or the folder's", () => {
    expect(modelNameOf("gpt-oss-20b", "./downloads")).toBe("gpt-oss-20b");
    expect(modelNameOf("gpt-oss architecture", "./models/own/")).toBe("own");
  });
});
