FROM scratch
COPY front /front
ENTRYPOINT ["/front"]
