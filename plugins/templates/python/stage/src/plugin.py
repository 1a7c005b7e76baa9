"""{{what}}

All imports stand at the top: the component is a picture of the interpreter behind them, and there is no file system later. `print`, the
time and random numbers are not there; `log` is.
"""

import json

import wit_world
from componentize_py_types import Err
from wit_world.imports import artifacts, log
from wit_world.imports.types import Failure, Finding, Manifest, Port, Ports

CONFIG = {
    "type": "object",
    "properties": {
        "max_lines": {
            "type": "integer",
            "minimum": 0,
            "default": 1000,
            "description": "the most lines that a text may have",
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
            inputs=Ports([Port("text", "blob", False, "what is counted")], None),
            outputs=Ports([Port("count", "blob", False, "bytes and lines, as JSON")], None),
            effects=[],
        )

    def run(self, config: str) -> list[Finding]:
        """Does the work. What is returned are findings; a raised `Err` with a `Failure` fails the stage."""
        most = json.loads(config).get("max_lines", 1000)
        count = {"bytes": 0, "lines": 0}
        try:
            with artifacts.open_blob("text") as reader:
                while chunk := reader.read(65536):
                    count["bytes"] += len(chunk)
                    count["lines"] += chunk.count(b"\n")
            lines = count["lines"]
            log.log("info", f"{lines} lines")
            if lines > most:
                finding = Finding("error", f"line {most + 1} is one too many", "max-lines", None, None, None)
                raise Err(Failure(f"{lines} lines, at most {most}", [finding]))
            with artifacts.create_blob("count") as writer:
                writer.write((json.dumps(count, separators=(",", ":")) + "\n").encode())
                writer.finish()
        except Err as error:
            if isinstance(error.value, artifacts.Error):
                raise Err(Failure(error.value.message, [])) from None
            raise
        return []
