// {{what}}

import { send } from "lockgate:plugin/http@0.1.0";
import type { Error as HttpError, Response } from "lockgate:plugin/http@0.1.0";
import { log } from "lockgate:plugin/log@0.1.0";
import type { Failure, Look, Manifest } from "lockgate:plugin/types@0.1.0";

const CONFIG = {
  type: "object",
  properties: { url: { type: "string", description: "the URL; the pipeline grants it" } },
  required: ["url"],
  additionalProperties: false,
};

/** What was seen. */
interface Health {
  status: "healthy" | "degraded" | "unhealthy";
  reason: string;
  details: string;
}

// What this plugin is. Asked before anything runs: it must answer the same each time, and can call nothing.
export function describe(): Manifest {
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

// Takes one look. A thrown `Failure` means that nothing could be said.
export function check(config: string, look: Look): Health {
  const { url }: { url: string } = JSON.parse(config);
  log("debug", `look ${look.index}`);
  let response: Response;
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
  } catch (thrown) {
    // A service that does not answer is not well. What the pipeline did not grant says nothing about the service.
    const error = thrown as HttpError;
    if (error.code === "not-granted") {
      const failure: Failure = { message: error.message, findings: [] };
      throw failure;
    }
    return { status: "unhealthy", reason: `no answer: ${error.message}`, details: "" };
  }
  const status = response.status === 200 ? "healthy" : "unhealthy";
  return { status, reason: `answered ${response.status}`, details: "" };
}
