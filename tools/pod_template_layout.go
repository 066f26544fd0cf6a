// Prints the field layout of a pod template, as src/homeport/controllers/pod_template_layout.json holds it.
//
//	go mod init layout && go get k8s.io/api@v0.36.0 && go run tools/pod_template_layout.go
package main

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// leaves are printed by hand: their JSON form is not their structure.
var leaves = map[string]bool{"v1.Time": true, "resource.Quantity": true, "intstr.IntOrString": true}

var layout = map[string][][]string{}

func shape(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Ptr:
		return "*" + shape(t.Elem())
	case reflect.Slice:
		return "[]" + shape(t.Elem())
	case reflect.Map:
		return "map:" + shape(t.Elem())
	case reflect.Struct:
		visit(t)
		return "struct"
	default:
		return t.Kind().String()
	}
}

func visit(t reflect.Type) {
	if _, known := layout[t.String()]; known || leaves[t.String()] {
		return
	}
	layout[t.String()] = nil
	fields := [][]string{}
	for i := 0; i < t.NumField(); i++ {
		field := t.Field(i)
		name := strings.Split(field.Tag.Get("json"), ",")[0]
		fields = append(fields, []string{field.Name, name, field.Type.String(), shape(field.Type)})
	}
	layout[t.String()] = fields
}

func main() {
	visit(reflect.TypeOf(v1.PodTemplateSpec{}))
	json.NewEncoder(os.Stdout).Encode(layout)
}
