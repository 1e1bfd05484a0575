#!/usr/bin/env bash
# iso20022.js 0.0.15 (npm): no entry of a bank statement (camt.053) is ever a reversal,
# and references, account and routing numbers made of digits lose their leading zeros.
#
# A customer paid 19.99 for order 000123, and the bank took the payment back. The second
# entry says so with RvslInd. ISO 20022 writes it as an XML boolean: true or 1. One would
# expect reversal: true in the entry, a field that the package has, and the texts that
# its types promise (remittanceInformation, accountNumber and routingNumber are strings).
# Seen: reversal is false for both. The XML parser below it turns true into a boolean and
# digits into numbers, and the reader then compares with the string 'true'; only Cd and
# NtryRef are kept as text. So the order is 123, account 0098765432 is 98765432, bank
# 021000021 is the number 21000021, and the bank's own reference 0077 is 77. The amount
# in minor units, 1999 cents, is 1998.9999999999998.
#
# https://www.w3.org/TR/xmlschema-2/#boolean
# Needs Node, npm and its registry. Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo '{"private": true}' >package.json
npm install --silent --no-audit --no-fund --ignore-scripts iso20022.js@0.0.15 >/dev/null
entry() { # reference, direction, reversal, the bank's reference
	cat <<XML
<Ntry><NtryRef>$1</NtryRef><Amt Ccy="USD">19.99</Amt><CdtDbtInd>$2</CdtDbtInd><RvslInd>$3</RvslInd><Sts>BOOK</Sts>
<BookgDt><Dt>2026-11-27</Dt></BookgDt><AcctSvcrRef>$4</AcctSvcrRef>
<BkTxCd><Prtry><Cd>165</Cd></Prtry></BkTxCd><NtryDtls><TxDtls>
<RltdPties><DbtrAcct><Id><Othr><Id>0098765432</Id></Othr></Id></DbtrAcct></RltdPties>
<RltdAgts><DbtrAgt><FinInstnId><Othr><Id>021000021</Id></Othr></FinInstnId></DbtrAgt></RltdAgts>
<RmtInf><Ustrd>000123</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry>
XML
}
cat >statement.xml <<XML
<?xml version="1.0" encoding="UTF-8"?>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.02"><BkToCstmrStmt>
<GrpHdr><MsgId>M-1</MsgId><CreDtTm>2026-11-28T06:00:00Z</CreDtTm></GrpHdr>
<Stmt><Id>S-1</Id><CreDtTm>2026-11-28T06:00:00Z</CreDtTm>
<Acct><Id><Othr><Id>0012345678</Id></Othr></Id><Svcr><FinInstnId><BIC>CHASUS33</BIC></FinInstnId></Svcr></Acct>
<Bal><Tp><CdOrPrtry><Cd>OPBD</Cd></CdOrPrtry></Tp><Amt Ccy="USD">100.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>2026-11-27</Dt></Dt></Bal>
<Bal><Tp><CdOrPrtry><Cd>CLBD</Cd></CdOrPrtry></Tp><Amt Ccy="USD">100.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>2026-11-27</Dt></Dt></Bal>
$(entry 01 CRDT false FT26331A)
$(entry 02 DBIT true 0077)
</Stmt></BkToCstmrStmt></Document>
XML
cat >read.mjs <<'JS'
import { readFileSync } from 'node:fs';
import { CashManagementEndOfDayReport } from 'iso20022.js';

const report = CashManagementEndOfDayReport.fromXML(readFileSync('statement.xml', 'utf8'));
for (const entry of report.entries) {
  const [{ remittanceInformation, debtor }] = entry.transactions;
  console.log(entry.creditDebitIndicator, entry.amount, 'reversal:', entry.reversal, 'reference:', entry.accountServicerReferenceId);
  console.log({ remittanceInformation, ...debtor.account, ...debtor.agent });
}
JS
node read.mjs | tee seen
diff seen - <<'WANT' && echo "still so" || { echo "no longer so"; exit 1; }
credit 1998.9999999999998 reversal: false reference: FT26331A
{
  remittanceInformation: 123,
  accountNumber: '98765432',
  routingNumber: 21000021
}
debit 1998.9999999999998 reversal: false reference: 77
{
  remittanceInformation: 123,
  accountNumber: '98765432',
  routingNumber: 21000021
}
WANT
