// {{what}}

import { createBlob, openBlob } from "lockgate:plugin/artifacts@0.1.0";
import { log } from "lockgate:plugin/log@0.1.0";

const CONFIG = {
  type: "object",
  properties: {
    max_lines: { type: "integer", minimum: 0, default: 1000, description: "the most lines that a text may have" },
  },
  additionalProperties: false,
};

// What this plugin is. Asked before anything runs: it must answer the same each time, and can call nothing.
export function describe() {
  return {
    name: "{{name}}",
    version: "0.1.0",
    summary: "{{what}}",
    configSchema: JSON.stringify(CONFIG),
    inputs: { named: [{ name: "text", kind: "blob", optional: false, summary: "what is counted" }], open: null },
    outputs: { named: [{ name: "count", kind: "blob", optional: false, summary: "bytes and lines, as JSON" }], open: null },
    effects: [],
  };
}

// Does the work. What is returned are findings; what is thrown fails the stage: `{ message, findings }`.
export function run(config) {
  const { max_lines = CONFIG.properties.max_lines.default } = JSON.parse(config);
  let bytes = 0;
  let lines = 0;
  const reader = openBlob("text");
  for (let chunk = reader.read(65536); chunk.length > 0; chunk = reader.read(65536)) {
    bytes += chunk.length;
    for (const byte of chunk) {
      if (byte === 10) lines += 1;
    }
  }
  log("info", `${lines} lines`);
  if (lines > max_lines) {
    const message = `line ${max_lines + 1} is one too many`;
    const finding = { severity: "error", message, rule: "max-lines", path: null, line: null, column: null };
    throw { message: `${lines} lines, at most ${max_lines}`, findings: [finding] };
  }
  const writer = createBlob("count");
  writer.write(ascii(JSON.stringify({ bytes, lines }) + "\n"));
  writer.finish();
  return [];
}

// The engine has no TextEncoder.
function ascii(text) {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}
