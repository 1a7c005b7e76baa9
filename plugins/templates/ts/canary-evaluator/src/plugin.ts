// {{what}}

import type { Count, Figure, Observation, Verdict } from "lockgate:plugin/evaluation@0.1.0";
import type { Look, Manifest } from "lockgate:plugin/types@0.1.0";

const CONFIG = {
  type: "object",
  properties: {
    max_error_rate: {
      type: "number",
      minimum: 0,
      maximum: 1,
      default: 0.05,
      description: "the largest share of answers of the canary that are errors",
    },
  },
  additionalProperties: false,
};

// What this plugin is. Asked before anything runs: it must answer the same each time, and can call nothing.
export function describe(): Manifest {
  return {
    name: "{{name}}",
    version: "0.1.0",
    summary: "{{what}}",
    configSchema: JSON.stringify(CONFIG),
    inputs: { named: [], open: null },
    outputs: { named: [], open: null },
    effects: [],
  };
}

// Judges. `state` is what the look before returned, `null` at the first.
export function evaluate(config: string, observation: Observation, look: Look, state: Uint8Array | null): Verdict {
  const { max_error_rate: limit = CONFIG.properties.max_error_rate.default }: { max_error_rate?: number } =
    JSON.parse(config);
  const sample = observation.samples.find(({ metric, side }) => metric === "status" && side === "canary");
  const counts = sample?.counts ?? [];
  const sum = (some: Count[]) => some.reduce((all, { number }) => all + number, 0);
  const all = sum(counts);
  const bad = sum(counts.filter(({ class: kind }) => !kind.startsWith("2")));
  if (all === 0) return verdict("inconclusive", "nothing was seen of the canary", []);
  const passed = bad / all <= limit;
  const figure = { name: "error-rate", value: bad / all, baseline: null, limit, unit: null, passed };
  return verdict(passed ? "promote" : "rollback", `${bad} of ${all} answers are errors`, [figure]);
}

function verdict(status: string, reason: string, figures: Figure[]): Verdict {
  return { status, reasons: [reason], figures, state: new Uint8Array() };
}
