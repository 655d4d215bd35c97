"""A Sphinx directive, `json-schema NAME`, that shows the fields of a format and its JSON schema.

The schemas are derived from the types in `json_formats` and in the package. The site contains each
as `schemas/NAME.schema.json`.
"""

from __future__ import annotations

import json
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from docutils import nodes
from pydantic import TypeAdapter
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from docs.json_formats import STRICT, TYPES

FOLDER = "schemas"
"""The folder of the site with the schemas."""


def json_schema(name: str) -> dict[str, Any]:
    """Returns the JSON schema of a format.

    Args:
        name: a key of `TYPES`.
    """
    kind = TYPES[name]
    if is_dataclass(kind):
        _describe_fields(kind)
    schema = TypeAdapter(kind).json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": name, **schema}


def _describe_fields(kind: Any) -> None:  # noqa: ANN401 (a type)
    """Has the docstrings of a dataclass's fields added to its schema, and those within it."""
    kind.__pydantic_config__ = STRICT
    for annotation in get_type_hints(kind).values():
        for inner in (annotation, *get_args(annotation)):
            if is_dataclass(inner):
                _describe_fields(inner)


class JsonSchema(SphinxDirective):
    """A table of fields for each object of a format, and a link to its JSON schema."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Returns the tables and the link."""
        name = self.arguments[0]
        schema = json_schema(name)
        objects = [schema] if "properties" in schema else []
        choices = [choice["$ref"].rpartition("/")[2] for choice in schema.get("anyOf", ())]
        definitions = schema.get("$defs", {})
        objects += [definitions[key] for key in dict.fromkeys([*choices, *definitions])]
        tables = [_table(each, many=len(objects) > 1) for each in objects if "properties" in each]
        address = f"{FOLDER}/{name}.schema.json"
        link = nodes.paragraph("", "", nodes.Text("JSON schema: "))
        link += nodes.reference("", address, refuri=address)
        return [*self.parse_text_to_nodes("\n\n".join(tables)), link]


def _table(schema: dict[str, Any], *, many: bool) -> str:
    required = schema.get("required", ())
    rows = [
        f"| `{name}` | {_type(field)} | {'yes' if name in required else 'no'} | "
        f"{' '.join(field.get('description', '').split()).replace('|', '∣')} |"
        for name, field in schema["properties"].items()
    ]
    description = " ".join(schema.get("description", "").partition("\n\n")[0].split())
    title = f"**{schema['title']}**: {description}\n\n" if many else ""
    return title + "\n".join(["| Field | Type | Required | Meaning |", "|---|---|---|---|", *rows])


def _type(schema: dict[str, Any]) -> str:
    """Returns a type of JSON Schema in words."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        items: dict[str, Any] = schema.get("items") or next(iter(schema.get("prefixItems", ())), {})
        kind = _type(items)
        return f"list of {kind}s" if kind in ("number", "string", "integer") else f"list of {kind}"
    return str(schema.get("type", "any"))


def _write_schemas(app: Sphinx, error: Exception | None) -> None:
    """Writes the schemas into the built site."""
    if error or app.builder.format != "html":
        return
    folder = Path(app.outdir, FOLDER)
    folder.mkdir(exist_ok=True)
    for name in TYPES:
        text = json.dumps(json_schema(name), indent=1) + "\n"
        (folder / f"{name}.schema.json").write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the directive and the files."""
    app.add_directive("json-schema", JsonSchema)
    app.connect("build-finished", _write_schemas)
    return {"parallel_read_safe": True}
