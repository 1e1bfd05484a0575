# Another image of the same program, for a rolling update.
ARG OF
FROM ${OF}
LABEL org.opencontainers.image.version="next"
