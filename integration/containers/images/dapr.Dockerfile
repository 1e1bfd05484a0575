FROM scratch
COPY daprd placement scheduler /
