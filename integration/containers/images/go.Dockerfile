# Replaces the image golang in deploy/docker/Dockerfile, on machines that cannot pull images.
FROM scratch
COPY . /
ENV PATH=/usr/local/go/bin HOME=/ GOTOOLCHAIN=local GOTMPDIR=/
