"""Which methods want weights from scikit-learn's pipelines and searches where its metadata routing is on."""

from __future__ import annotations

import copy
import inspect
from typing import Any, Self

from dbml.errors import InvalidParameter

_ROUTED = ("fit", "partial_fit", "score")
_UNCHANGED = "$UNCHANGED$"  # what scikit-learn calls a request that stays as it is


class RequestsMetadata:
    """Requests of ``sample_weight``, by scikit-learn's names; nothing of it is asked for but by scikit-learn."""

    _metadata_request: Any

    def set_fit_request(self, *, sample_weight: Any = _UNCHANGED) -> Self:
        """Say whether `fit` wants ``sample_weight``: True, False, None (an error if passed) or the name it is under."""
        return self._ask_for("fit", sample_weight)

    def set_partial_fit_request(self, *, sample_weight: Any = _UNCHANGED) -> Self:
        """Say whether `partial_fit` wants ``sample_weight``; as `set_fit_request`."""
        return self._ask_for("partial_fit", sample_weight)

    def set_score_request(self, *, sample_weight: Any = _UNCHANGED) -> Self:
        """Say whether `score` wants ``sample_weight``; as `set_fit_request`."""
        return self._ask_for("score", sample_weight)

    def get_metadata_routing(self) -> Any:
        """Return scikit-learn's `MetadataRequest`: which method wants ``sample_weight``."""
        from sklearn.utils.metadata_routing import MetadataRequest

        if "_metadata_request" in vars(self):
            return copy.deepcopy(self._metadata_request)
        request = MetadataRequest(owner=type(self).__name__)
        for method in _ROUTED:
            if self._takes_weights(method):
                getattr(request, method).add_request(param="sample_weight", alias=None)
        return request

    def _takes_weights(self, method: str) -> bool:
        found = getattr(type(self), method, None)
        return inspect.isfunction(found) and "sample_weight" in inspect.signature(found).parameters

    def _ask_for(self, method: str, alias: Any) -> Self:
        if not self._takes_weights(method):
            raise InvalidParameter(f"{type(self).__name__}: {method} takes no sample_weight that could be asked for")
        if alias != _UNCHANGED:
            request = self.get_metadata_routing()
            getattr(request, method).add_request(param="sample_weight", alias=alias)
            self._metadata_request = request
        return self
