# Stands in for golang, in deploy/docker/Dockerfile.
FROM scratch
COPY . /
ENV PATH=/usr/local/go/bin HOME=/ GOTOOLCHAIN=local GOTMPDIR=/
