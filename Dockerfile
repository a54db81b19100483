# The image of pipelines/kubernetes.yaml:
#
#   docker build -t epixs .
#   docker run --rm -v "$PWD:/data" epixs epixs --help
#
# For GPUs: docker build --build-arg EXTRAS=viz,cluster,browse,gpu -t epixs:gpu .
FROM python:3.12-slim
ARG EXTRAS=viz,cluster,browse
WORKDIR /opt/epixs
COPY pyproject.toml README.md LICENSE ./
COPY epixs epixs
COPY catalog catalog
RUN pip install --no-cache-dir ".[$EXTRAS]" && useradd --create-home epixs
USER epixs
WORKDIR /data
CMD ["epixs", "--help"]
