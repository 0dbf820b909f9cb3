// Checks dashboards by Grafana's own schema, as its foundation SDK has it: a field that Grafana doesn't know, a
// value of another type or a kind of panel that isn't one is an error, where Grafana itself passes it over.
//
//	dashboards FILE...    a line for each mistake; exits with 1 when there are any
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// What our dashboards are made of. The options of a kind that isn't here would not be looked at.
func register() {
	runtime := cog.NewRuntime()
	runtime.RegisterPanelcfgVariant(stat.VariantConfig())
	runtime.RegisterPanelcfgVariant(statetimeline.VariantConfig())
	runtime.RegisterPanelcfgVariant(table.VariantConfig())
	runtime.RegisterPanelcfgVariant(timeseries.VariantConfig())
	runtime.RegisterDataqueryVariant(prometheus.VariantConfig())
}

func main() {
	register()
	mistakes := 0
	for _, name := range os.Args[1:] {
		for _, mistake := range check(name) {
			fmt.Printf("%s: %s\n", name, mistake)
			mistakes++
		}
	}
	if mistakes > 0 {
		os.Exit(1)
	}
}

func check(name string) []string {
	data, err := os.ReadFile(name)
	if err != nil {
		return told(err)
	}
	var board dashboard.Dashboard
	mistakes := told(board.UnmarshalJSONStrict(data))
	mistakes = append(mistakes, told(board.Validate())...)
	return append(mistakes, checkPanels(data)...)
}

// A line for each mistake. The SDK may return a list of errors that is empty.
func told(err error) []string {
	if err == nil || err.Error() == "" {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

type panel struct {
	Title       string
	Type        string
	FieldConfig json.RawMessage
	Datasource  source
	Targets     []struct{ Datasource source }
}

type source struct{ Type string }

// What strict decoding passes over: kinds of panels and of queries that nobody has registered, and fields beside
// `custom` in a panel's `fieldConfig`.
func checkPanels(data []byte) []string {
	var board struct{ Panels []panel }
	if err := json.Unmarshal(data, &board); err != nil {
		return told(err)
	}
	var mistakes []string
	for number, each := range board.Panels {
		for _, mistake := range each.check() {
			mistakes = append(mistakes, fmt.Sprintf("panels[%d] (%s): %s", number, each.Title, mistake))
		}
	}
	return mistakes
}

func (each panel) check() []string {
	var config dashboard.FieldConfigSource
	mistakes := told(config.UnmarshalJSONStrict(each.FieldConfig))
	if _, known := cog.ConfigForPanelcfgVariant(each.Type); !known {
		mistakes = append(mistakes, fmt.Sprintf("type: %q is not known here", each.Type))
	}
	for number, target := range each.Targets {
		if each.Datasource.Type != "prometheus" || target.Datasource.Type != "prometheus" {
			mistakes = append(mistakes, fmt.Sprintf("targets[%d].datasource: is not Prometheus", number))
		}
	}
	return mistakes
}
