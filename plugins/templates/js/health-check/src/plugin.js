// {{what}}

import { send } from "lockgate:plugin/http@0.1.0";
import { log } from "lockgate:plugin/log@0.1.0";

const CONFIG = {
  type: "object",
  properties: { url: { type: "string", description: "the URL; the pipeline grants it" } },
  required: ["url"],
  additionalProperties: false,
};

// What this plugin is. Asked before anything runs: it must answer the same each time, and can call nothing.
export function describe() {
  return {
    name: "{{name}}",
    version: "0.1.0",
    summary: "{{what}}",
    configSchema: JSON.stringify(CONFIG),
    inputs: { named: [], open: null },
    outputs: { named: [], open: null },
    effects: ["http"],
  };
}

// Takes one look. What is thrown means that nothing could be said: `{ message, findings }`.
export function check(config, look) {
  const { url } = JSON.parse(config);
  log("debug", `look ${look.index}`);
  let response;
  try {
    response = send({
      method: "GET",
      url,
      headers: [],
      body: null,
      bodyInput: null,
      saveAs: null,
      timeoutMs: null,
      maxBody: null,
    });
  } catch (error) {
    // A service that does not answer is not well. What the pipeline did not grant says nothing about the service.
    if (error.code === "not-granted") throw { message: error.message, findings: [] };
    return { status: "unhealthy", reason: `no answer: ${error.message}`, details: "" };
  }
  const status = response.status === 200 ? "healthy" : "unhealthy";
  return { status, reason: `answered ${response.status}`, details: "" };
}
