FROM scratch
COPY . /
ENTRYPOINT ["/bin/prometheus"]
