"""Write `configs/schema.json`, with which editors check config files as they are typed."""

import json

from musigma.project import PROJECT
from workbench.config.schema import json_schema

if __name__ == "__main__":
    path = PROJECT.configs / "schema.json"
    path.write_text(json.dumps(json_schema(PROJECT.configs), indent=1) + "\n", encoding="utf-8")
    print(f"written to {path}")
