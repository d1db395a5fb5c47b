"""The directive ``command``: a command's arguments and options, as the command itself knows them."""

from __future__ import annotations

from typing import Any

import typer.main
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from acclimate.cli import app


class Command(SphinxDirective):
    """```{command} data get``` lists what ``acclimate data get --help`` does, panel by panel.

    The option ``without`` leaves out a panel that is described elsewhere on the page.
    """

    required_arguments = 1
    optional_arguments = 5
    option_spec = {"without": str, "only": str}  # noqa: RUF012 - docutils reads it from the class

    def run(self) -> list[nodes.Node]:
        command: Any = typer.main.get_command(app)
        for word in self.arguments:
            command = command.commands[word]
        panels: dict[str, list[Any]] = {}
        for param in command.params:
            if not getattr(param, "hidden", False):
                panels.setdefault(getattr(param, "rich_help_panel", None) or "", []).append(param)
        if "without" in self.options:
            panels.pop(self.options["without"])
        if "only" in self.options:
            panels = {"": panels[self.options["only"]]}
        listing = nodes.definition_list()
        for params in panels.values():
            listing += [self.item(param) for param in params]
        return [listing]

    def item(self, param: Any) -> nodes.definition_list_item:
        """One argument or option: how it is typed, and what it means."""
        term = nodes.term()
        if param.param_type_name == "argument":
            names = [(param.metavar or param.name).strip("[]")]
        else:
            names = [*param.opts, *param.secondary_opts]
        for i, name in enumerate(names):
            term += [nodes.Text(", " if i else ""), nodes.literal(text=name)]
        is_flag = getattr(param, "is_flag", False)
        if param.param_type_name == "option" and not is_flag:
            term += [nodes.Text(" "), nodes.emphasis(text=param.metavar or param.name.upper())]
        text = param.help or ""
        if param.required:
            text += " Required."
        elif param.default not in (None, False, True, ()) and param.show_default is not False:
            text += f" Default: {param.default}."
        return nodes.definition_list_item("", term, nodes.definition("", nodes.paragraph(text=text)))


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("command", Command)
    return {"parallel_read_safe": True}
