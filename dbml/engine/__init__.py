"""Who runs the passes: threads of this process."""

from dbml.engine.local import LocalEngine
from dbml.passes.engine import register_engine

register_engine(LocalEngine())
