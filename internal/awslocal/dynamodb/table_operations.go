package dynamodb

import (
	"encoding/json"
	"regexp"
	"strings"
	"time"
)

// definition is the input of CreateTable, and the journal record of a table.
type definition struct {
	TableName              string
	AttributeDefinitions   []attributeDefinition
	KeySchema              []keyElement
	GlobalSecondaryIndexes []indexDefinition `json:",omitempty"`
	LocalSecondaryIndexes  []indexDefinition `json:",omitempty"`
	BillingMode            string            `json:",omitempty"`
	ProvisionedThroughput  *throughput       `json:",omitempty"`
	StreamSpecification    *struct {
		StreamEnabled  bool
		StreamViewType string `json:",omitempty"`
	} `json:",omitempty"`
	SSESpecification *struct {
		Enabled                 bool
		SSEType, KMSMasterKeyId string `json:",omitempty"`
	} `json:",omitempty"`
	TableClass                string `json:",omitempty"`
	DeletionProtectionEnabled bool   `json:",omitempty"`

	Created time.Time // set by CreateTable; distinguishes tables of the same name
	TTL     string    // the TTL attribute; "" if TTL is disabled
}

type attributeDefinition struct{ AttributeName, AttributeType string }

type keyElement struct{ AttributeName, KeyType string }

type projection struct {
	ProjectionType   string   `json:",omitempty"`
	NonKeyAttributes []string `json:",omitempty"`
}

type indexDefinition struct {
	IndexName             string
	KeySchema             []keyElement
	Projection            projection
	ProvisionedThroughput *throughput `json:",omitempty"`
}

type throughput struct{ ReadCapacityUnits, WriteCapacityUnits int64 }

var tableNamePattern = regexp.MustCompile(`^[a-zA-Z0-9_.-]{3,255}$`)

// tableName returns the table name of a name or an ARN.
func tableName(s string) string {
	if strings.HasPrefix(s, "arn:") {
		return s[strings.LastIndexByte(s, '/')+1:]
	}
	return s
}

func checkTableName(s string) error {
	if !tableNamePattern.MatchString(tableName(s)) {
		return validation("1 validation error detected: Value '%s' at 'tableName' failed to satisfy constraint: "+
			"Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+ and have length 3 to 255", s)
	}
	return nil
}

// check validates a definition.
func (d definition) check() error {
	if err := checkTableName(d.TableName); err != nil {
		return err
	}
	if len(d.LocalSecondaryIndexes) > 0 {
		return validation("The local endpoint has no local secondary indexes")
	}
	if d.StreamSpecification != nil && d.StreamSpecification.StreamEnabled {
		return validation("The local endpoint has no streams")
	}
	if e := d.SSESpecification; e != nil && (e.Enabled || e.SSEType != "" || e.KMSMasterKeyId != "") {
		return validation("The local endpoint has no encryption with keys of KMS")
	}
	if d.TableClass != "" && d.TableClass != "STANDARD" {
		return validation("The local endpoint has no table class but STANDARD: %s", d.TableClass)
	}
	types, usedBy := map[string]string{}, map[string]bool{}
	for _, a := range d.AttributeDefinitions {
		if a.AttributeType != "S" && a.AttributeType != "N" && a.AttributeType != "B" {
			return validation("Member must satisfy enum value set: [B, N, S]: attribute type %s of %s", a.AttributeType, a.AttributeName)
		}
		types[a.AttributeName] = a.AttributeType
	}
	keys := func(ks []keyElement) error {
		valid := len(ks) >= 1 && len(ks) <= 2 && ks[0].KeyType == "HASH"
		if len(ks) == 2 {
			valid = valid && ks[1].KeyType == "RANGE" && ks[0].AttributeName != ks[1].AttributeName
		}
		if !valid {
			return validation("Invalid KeySchema: The first KeySchemaElement is not a HASH key type, or the second is not a RANGE key type")
		}
		for _, k := range ks {
			if types[k.AttributeName] == "" {
				return validation("One or more parameter values were invalid: "+
					"Some index key attributes are not defined in AttributeDefinitions. Keys: [%s]", k.AttributeName)
			}
			usedBy[k.AttributeName] = true
		}
		return nil
	}
	if err := keys(d.KeySchema); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, g := range d.GlobalSecondaryIndexes {
		if err := keys(g.KeySchema); err != nil {
			return err
		}
		if seen[g.IndexName] || !tableNamePattern.MatchString(g.IndexName) {
			return validation("One or more parameter values were invalid: index name %q is not valid or not unique", g.IndexName)
		}
		seen[g.IndexName] = true
	}
	if len(usedBy) != len(types) {
		return validation("One or more parameter values were invalid: Number of attributes in KeySchema " +
			"does not exactly match number of attributes defined in AttributeDefinitions")
	}
	if d.BillingMode != "PAY_PER_REQUEST" && d.ProvisionedThroughput == nil {
		return validation("One or more parameter values were invalid: " +
			"ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED")
	}
	return nil
}

func (s *Service) createTable(body, out []byte) ([]byte, error) {
	var d definition
	if err := decode(body, &d); err != nil {
		return nil, err
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	if err := s.fault("CreateTable", d.TableName); err != nil {
		return nil, err
	}
	d.Created = s.opt.Now().UTC()
	d.TTL = ""
	t := newTable(d, d.Created)
	s.mu.Lock()
	if _, exists := s.tables.Get(d.TableName); exists {
		s.mu.Unlock()
		return nil, awsError("ResourceInUseException", "Table already exists: %s", d.TableName)
	}
	err := s.commit([]change{{table: d.TableName, def: &d}})
	if err == nil {
		s.tables.Set(d.TableName, t)
	}
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return s.describe(out, "TableDescription", t, "ACTIVE")
}

type tableRequest struct{ TableName string }

// tableOf decodes a request that has only a TableName, and returns the table.
func (s *Service) tableOf(body []byte, op string) (*table, error) {
	var in tableRequest
	if err := decode(body, &in); err != nil {
		return nil, err
	}
	if err := s.fault(op, in.TableName); err != nil {
		return nil, err
	}
	return s.table(in.TableName)
}

func (s *Service) describeTable(body, out []byte) ([]byte, error) {
	t, err := s.tableOf(body, "DescribeTable")
	if err != nil {
		return nil, err
	}
	return s.describe(out, "Table", t, "ACTIVE")
}

func (s *Service) deleteTable(body, out []byte) ([]byte, error) {
	t, err := s.tableOf(body, "DeleteTable")
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	if current, ok := s.tables.Get(t.name); !ok || current != t {
		s.mu.Unlock()
		return nil, notFound(t.name)
	}
	t.mu.RLock()
	protected := t.def.DeletionProtectionEnabled
	t.mu.RUnlock()
	if protected {
		s.mu.Unlock()
		return nil, validation("Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.")
	}
	err = s.commit([]change{{table: t.name, drop: true}})
	if err == nil {
		s.tables.Delete(t.name)
	}
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return s.describe(out, "TableDescription", t, "DELETING")
}

func (s *Service) listTables(body, out []byte) ([]byte, error) {
	var in struct {
		ExclusiveStartTableName string
		Limit                   int
	}
	if err := decode(body, &in); err != nil {
		return nil, err
	}
	if in.Limit <= 0 || in.Limit > 100 {
		in.Limit = 100
	}
	res := struct {
		TableNames             []string
		LastEvaluatedTableName string `json:",omitempty"`
	}{TableNames: []string{}}
	s.mu.RLock()
	s.tables.Ascend(in.ExclusiveStartTableName, func(name string, _ *table) bool {
		if name == in.ExclusiveStartTableName {
			return true
		}
		if len(res.TableNames) == in.Limit {
			res.LastEvaluatedTableName = res.TableNames[in.Limit-1]
			return false
		}
		res.TableNames = append(res.TableNames, name)
		return true
	})
	s.mu.RUnlock()
	return appendJSON(out, res)
}

func appendJSON(out []byte, v any) ([]byte, error) {
	b, err := json.Marshal(v)
	return append(out, b...), err
}

func (s *Service) arn(table string) string {
	return "arn:aws:dynamodb:" + s.opt.Region + ":" + s.opt.AccountID + ":table/" + table
}

// describe appends a table's description as the given field of a response.
func (s *Service) describe(out []byte, field string, t *table, status string) ([]byte, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	type indexDescription struct {
		indexDefinition
		IndexStatus, IndexArn     string
		ItemCount, IndexSizeBytes int64
		ProvisionedThroughput     throughput
	}
	d := struct {
		TableName, TableStatus, TableArn, TableId string
		AttributeDefinitions                      []attributeDefinition
		KeySchema                                 []keyElement
		CreationDateTime                          float64
		ItemCount, TableSizeBytes                 int64
		ProvisionedThroughput                     throughput
		BillingModeSummary                        *struct{ BillingMode string } `json:",omitempty"`
		GlobalSecondaryIndexes                    []indexDescription            `json:",omitempty"`
		TableClassSummary                         *struct{ TableClass string }  `json:",omitempty"`
		DeletionProtectionEnabled                 bool
	}{
		TableName: t.name, TableStatus: status, TableArn: s.arn(t.name), TableId: "local-" + t.name,
		AttributeDefinitions: t.def.AttributeDefinitions, KeySchema: t.def.KeySchema,
		CreationDateTime: float64(t.created.UnixMilli()) / 1000,
		ItemCount:        int64(t.items.Len()), TableSizeBytes: t.bytes,
	}
	if t.def.ProvisionedThroughput != nil {
		d.ProvisionedThroughput = *t.def.ProvisionedThroughput
	}
	if t.def.TableClass != "" {
		d.TableClassSummary = &struct{ TableClass string }{TableClass: t.def.TableClass}
	}
	d.DeletionProtectionEnabled = t.def.DeletionProtectionEnabled
	if t.def.BillingMode != "" {
		d.BillingModeSummary = &struct{ BillingMode string }{BillingMode: t.def.BillingMode}
	}
	for i, g := range t.def.GlobalSecondaryIndexes {
		if g.Projection.ProjectionType == "" {
			g.Projection.ProjectionType = "ALL"
		}
		var units throughput
		if g.ProvisionedThroughput != nil {
			units = *g.ProvisionedThroughput
		}
		d.GlobalSecondaryIndexes = append(d.GlobalSecondaryIndexes, indexDescription{
			indexDefinition: g, ProvisionedThroughput: units, IndexStatus: "ACTIVE", IndexArn: s.arn(t.name) + "/index/" + g.IndexName,
			ItemCount: int64(t.indexes()[i].tree.Len()),
		})
	}
	return appendJSON(out, map[string]any{field: d})
}
