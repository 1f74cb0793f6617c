"""A real OpenSearch for tests and benchmarks: assembled from Maven Central into .venv/opensearch/, started on loopback."""
