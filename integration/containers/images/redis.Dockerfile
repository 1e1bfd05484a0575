FROM scratch
COPY . /
ENTRYPOINT ["/usr/bin/redis-server"]
