"""The diagrams of a session as SVG. Pure functions of the story; see README.md for classes and links."""

from ringback.sessions.diagram.advanced import Flow, advanced_flow, advanced_svg
from ringback.sessions.diagram.basic import basic_svg
from ringback.sessions.diagram.style import STYLE

__all__ = ["STYLE", "Flow", "advanced_flow", "advanced_svg", "basic_svg"]
