"""{{what}}

All imports stand at the top: the component is a picture of the interpreter behind them, and there is no file system later. `print`, the
time and random numbers are not there.
"""

import json
from typing import Optional

import wit_world
from wit_world.imports.evaluation import Figure, Observation, Verdict
from wit_world.imports.types import Look, Manifest, Ports

CONFIG = {
    "type": "object",
    "properties": {
        "max_error_rate": {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "default": 0.05,
            "description": "the largest share of answers of the canary that are errors",
        }
    },
    "additionalProperties": False,
}


class WitWorld(wit_world.WitWorld):
    def describe(self) -> Manifest:
        """What this plugin is. Asked before anything runs: it must answer the same each time, and can call nothing."""
        return Manifest(
            name="{{name}}",
            version="0.1.0",
            summary="{{what}}",
            config_schema=json.dumps(CONFIG),
            inputs=Ports([], None),
            outputs=Ports([], None),
            effects=[],
        )

    def evaluate(self, config: str, observation: Observation, look: Look, state: Optional[bytes]) -> Verdict:
        """Judges. `state` is what the look before returned, `None` at the first."""
        limit = json.loads(config).get("max_error_rate", 0.05)
        seen = [sample for sample in observation.samples if (sample.metric, sample.side) == ("status", "canary")]
        counts = [count for sample in seen for count in sample.counts]
        answers = sum(count.number for count in counts)
        bad = sum(count.number for count in counts if not count.class_.startswith("2"))
        if answers == 0:
            return Verdict("inconclusive", ["nothing was seen of the canary"], [], b"")
        passed = bad / answers <= limit
        figure = Figure("error-rate", bad / answers, None, limit, None, passed)
        return Verdict("promote" if passed else "rollback", [f"{bad} of {answers} answers are errors"], [figure], b"")
