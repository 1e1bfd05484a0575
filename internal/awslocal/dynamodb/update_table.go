package dynamodb

import "slices"

// updateTable sets the deletion protection, or adds or removes one index. It rejects
// everything else that AWS can change. A new index can be queried at once; AWS takes minutes to
// build one.
func (s *Service) updateTable(body, out []byte) ([]byte, error) {
	var in struct {
		TableName                   string
		DeletionProtectionEnabled   *bool
		AttributeDefinitions        []attributeDefinition
		GlobalSecondaryIndexUpdates []indexUpdate
	}
	if err := decode(body, &in); err != nil {
		return nil, err
	}
	if err := s.fault("UpdateTable", in.TableName); err != nil {
		return nil, err
	}
	t, err := s.table(in.TableName)
	if err != nil {
		return nil, err
	}
	if in.DeletionProtectionEnabled == nil && len(in.GlobalSecondaryIndexUpdates) == 0 {
		return nil, validation("At least one of the parameters that UpdateTable changes must be given; " +
			"the local endpoint has DeletionProtectionEnabled and GlobalSecondaryIndexUpdates")
	}
	t.mu.Lock()
	def := t.def
	if in.DeletionProtectionEnabled != nil {
		def.DeletionProtectionEnabled = *in.DeletionProtectionEnabled
	}
	err = def.update(in.AttributeDefinitions, in.GlobalSecondaryIndexUpdates)
	if err == nil {
		err = s.commit([]change{{table: t.name, def: &def}})
	}
	if err == nil {
		t.redefine(def)
	}
	t.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return s.describe(out, "TableDescription", t, "ACTIVE")
}

// indexUpdate is an entry of GlobalSecondaryIndexUpdates. Update is rejected.
type indexUpdate struct {
	Create *indexDefinition
	Delete *struct{ IndexName string }
	Update *struct{ IndexName string }
}

// update adds or removes an index. It copies the slices, because a snapshot may be reading
// them; see
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateTable.html
func (d *definition) update(attributes []attributeDefinition, updates []indexUpdate) error {
	if len(updates) > 1 {
		return awsError("LimitExceededException",
			"Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table")
	}
	for _, u := range updates {
		named := func(name string) func(indexDefinition) bool {
			return func(g indexDefinition) bool { return g.IndexName == name }
		}
		switch {
		case u.Create != nil && u.Delete == nil && u.Update == nil:
			if slices.ContainsFunc(d.GlobalSecondaryIndexes, named(u.Create.IndexName)) {
				return validation("Attempting to create an index which already exists")
			}
			d.GlobalSecondaryIndexes = append(slices.Clone(d.GlobalSecondaryIndexes), *u.Create)
		case u.Delete != nil && u.Create == nil && u.Update == nil:
			if !slices.ContainsFunc(d.GlobalSecondaryIndexes, named(u.Delete.IndexName)) {
				return awsError("ResourceNotFoundException", "Requested resource not found")
			}
			d.GlobalSecondaryIndexes = slices.DeleteFunc(slices.Clone(d.GlobalSecondaryIndexes), named(u.Delete.IndexName))
		default:
			return validation("One or more parameter values were invalid: " +
				"exactly one of Create and Delete must be given; the local endpoint has no Update")
		}
	}
	if len(updates) == 0 {
		return nil
	}
	// Drop the definitions of attributes that are no longer part of a key.
	used := map[string]bool{}
	for _, k := range d.KeySchema {
		used[k.AttributeName] = true
	}
	for _, g := range d.GlobalSecondaryIndexes {
		for _, k := range g.KeySchema {
			used[k.AttributeName] = true
		}
	}
	var all []attributeDefinition
	for _, a := range slices.Concat(d.AttributeDefinitions, attributes) {
		if i := slices.IndexFunc(all, func(b attributeDefinition) bool { return b.AttributeName == a.AttributeName }); i >= 0 {
			if all[i] != a {
				return validation("One or more parameter values were invalid: attribute %s has another type already", a.AttributeName)
			}
		} else if used[a.AttributeName] {
			all = append(all, a)
		}
	}
	d.AttributeDefinitions = all
	return d.check()
}
