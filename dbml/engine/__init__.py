"""Who runs the passes: threads of this process. Importing this package registers the engine and the display."""

from dbml.engine.local import LocalEngine
from dbml.engine.progress import active_display, show_progress
from dbml.passes.engine import register_engine
from dbml.passes.progress import register_display

__all__ = ["LocalEngine", "show_progress"]

register_engine(LocalEngine())
register_display(active_display)
