"""The event store in OpenSearch or Elasticsearch."""

from ringback.events.opensearch.address import Address
from ringback.events.opensearch.engine import OpenSearchEventStore

__all__ = ["Address", "OpenSearchEventStore"]
