# Stage 1: the packages, exactly as locked, and the coordinator's own wheel.
FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /opt/saga
COPY requirements.lock ./
RUN /opt/saga/bin/pip install --require-hashes --only-binary :all: -r requirements.lock
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY saga ./saga
COPY compensations ./compensations
COPY examples ./examples
RUN /opt/saga/bin/pip install --no-deps . && /opt/saga/bin/python -m compileall -q /opt/saga

# Stage 2: nothing but the interpreter and the environment.
FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /data saga && install -d -o saga -g saga /data
COPY --from=build /opt/saga /opt/saga
ENV PATH=/opt/saga/bin:$PATH PYTHONUNBUFFERED=1 SAGA_STORE=sqlite:////data/saga.db SAGA_HOST=0.0.0.0
USER saga
WORKDIR /data
VOLUME /data
EXPOSE 7242
# A coordinator that is reachable from outside asks for SAGA_ADMIN_TOKEN, and does not start without.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["saga", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["saga"]
CMD ["serve"]
