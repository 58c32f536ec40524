"""Write `configs/schema.json`, by which an editor checks the config files while one types."""

import json

from musigma.config.schema import json_schema
from musigma.paths import CONFIGS

if __name__ == "__main__":
    path = CONFIGS / "schema.json"
    path.write_text(json.dumps(json_schema(CONFIGS), indent=1) + "\n", encoding="utf-8")
    print(f"written to {path}")
