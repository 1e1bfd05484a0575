package kube

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// authority is the certificate authority of a cluster.
type authority struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  crypto.Signer
}

// newAuthority creates an authority whose files are in dir.
func newAuthority(t testing.TB, dir string) authority {
	t.Helper()
	a := authority{t: t, dir: dir}
	a.key = a.newKey("ca.key")
	a.cert = a.sign("ca.crt", a.key, &x509.Certificate{
		Subject: pkix.Name{CommonName: "ordersaga-test"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	})
	return a
}

// issue writes a certificate for a server on loopback and for a client, with its key, and
// returns the names of both files.
func (a authority) issue(name string) (cert, key string) {
	a.t.Helper()
	a.sign(name+".crt", a.newKey(name+".key"), &x509.Certificate{
		Subject:  pkix.Name{CommonName: name},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	return a.file(name + ".crt"), a.file(name + ".key")
}

func (a authority) file(name string) string { return filepath.Join(a.dir, name) }

// newKey writes a new private key.
func (a authority) newKey(file string) crypto.Signer {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	der, err := x509.MarshalECPrivateKey(key)
	require.NoError(a.t, err)
	a.write(file, "EC PRIVATE KEY", der)
	return key
}

// sign writes the certificate c, signed by the authority or, for its own, by itself.
func (a authority) sign(file string, key crypto.Signer, c *x509.Certificate) *x509.Certificate {
	a.t.Helper()
	var err error
	c.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(a.t, err)
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	parent := a.cert
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), a.key)
	require.NoError(a.t, err)
	a.write(file, "CERTIFICATE", der)
	signed, err := x509.ParseCertificate(der)
	require.NoError(a.t, err)
	return signed
}

func (a authority) write(file, kind string, der []byte) {
	a.t.Helper()
	require.NoError(a.t, os.WriteFile(a.file(file), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}
