package awslocal

import (
	"net/http"

	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

const (
	stsVersion   = "2011-06-15"
	stsNamespace = "https://sts.amazonaws.com/doc/2011-06-15/"
)

type callerIdentity struct{ Arn, UserId, Account string }

// serveSTS serves GetCallerIdentity, with which SDKs and Dapr find out their account.
// https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
func (s *Server) serveSTS(w http.ResponseWriter, id, action string) {
	if action != "GetCallerIdentity" {
		wire.WriteXMLError(w, stsNamespace, id, &wire.Error{
			Code: "InvalidAction", Message: "The local STS endpoint has no operation " + action + ".",
		})
		return
	}
	wire.WriteXML(w, stsNamespace, action, id, &callerIdentity{
		Arn: "arn:aws:iam::" + s.opt.AccountID + ":root", UserId: s.opt.AccountID, Account: s.opt.AccountID,
	})
}
