# Like deploy/docker/Dockerfile, but the program was built outside of Docker, for
# machines that cannot pull an image to build it in.
FROM scratch
LABEL org.opencontainers.image.title="ordersaga" org.opencontainers.image.version="test"
COPY ordersaga /ordersaga
USER 65532:65532
ENTRYPOINT ["/ordersaga"]
HEALTHCHECK --interval=15s --timeout=12s --start-period=90s CMD ["/ordersaga", "health", "--auto-detect"]
