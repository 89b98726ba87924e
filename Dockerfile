# The environment of the tests and the demo: docker build -t lit_privq . && docker run --rm lit_privq
FROM python:3.12-slim
RUN apt-get update && apt-get install --yes --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /lit_privq
COPY . .
RUN PIP_NO_CACHE_DIR=1 make .venv/.installed
ENV PATH=/lit_privq/.venv/bin:$PATH OMP_WAIT_POLICY=passive
CMD ["lit_privq", "study", "--config", "configs/study/digits.yaml", "--output", "runs/demo"]
