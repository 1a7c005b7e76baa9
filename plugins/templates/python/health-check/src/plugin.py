"""{{what}}

All imports stand at the top: the component is a picture of the interpreter behind them, and there is no file system later. `print`, the
time and random numbers are not there; `log` is.
"""

import json

import wit_world
from componentize_py_types import Err
from wit_world import Health
from wit_world.imports import http, log
from wit_world.imports.types import Failure, Look, Manifest, Ports

CONFIG = {
    "type": "object",
    "properties": {"url": {"type": "string", "description": "the URL; the pipeline grants it"}},
    "required": ["url"],
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
            effects=["http"],
        )

    def check(self, config: str, look: Look) -> Health:
        """Takes one look. A raised `Err` with a `Failure` means that nothing could be said."""
        url = json.loads(config)["url"]
        log.log("debug", f"look {look.index}")
        try:
            response = http.send(http.Request("GET", url, [], None, None, None, None, None))
        except Err as error:
            # A service that does not answer is not well. What the pipeline did not grant says nothing about the service.
            if error.value.code == "not-granted":
                raise Err(Failure(error.value.message, [])) from None
            return Health("unhealthy", f"no answer: {error.value.message}", "")
        status = "healthy" if response.status == 200 else "unhealthy"
        return Health(status, f"answered {response.status}", "")
