// Package plugin: {{what}}
//
// The packages below bindings are made of the contract by `lockgate plugin build`.
package plugin

import (
	"encoding/json"
	"fmt"

	artifacts "{{name}}/bindings/lockgate_plugin_artifacts"
	log "{{name}}/bindings/lockgate_plugin_log"
	contract "{{name}}/bindings/lockgate_plugin_types"
	wit "{{name}}/bindings/wit_types"
)

// Config is what is permitted.
type Config struct {
	MaxLines int `json:"max_lines"`
}

const schema = `{
  "type": "object",
  "properties": {
    "max_lines": {"type": "integer", "minimum": 0, "default": 1000, "description": "the most lines that a text may have"}
  },
  "additionalProperties": false
}`

// Describe says what this plugin is. Asked before anything runs: it must answer the same each time, and can call nothing.
func Describe() contract.Manifest {
	port := func(name, summary string) contract.Ports {
		return contract.Ports{
			Named: []contract.Port{{Name: name, Kind: "blob", Summary: summary}},
			Open:  wit.None[string](),
		}
	}
	return contract.Manifest{
		Name:         "{{name}}",
		Version:      "0.1.0",
		Summary:      "{{what}}",
		ConfigSchema: schema,
		Inputs:       port("text", "what is counted"),
		Outputs:      port("count", "bytes and lines, as JSON"),
	}
}

// Run does the work: findings, or why it failed.
func Run(config string) wit.Result[[]contract.Finding, contract.Failure] {
	// What a panic says would go to standard error, which nobody sees.
	defer func() {
		if reason := recover(); reason != nil {
			log.Log("error", fmt.Sprint("panic: ", reason))
			panic(reason)
		}
	}()
	settings := Config{MaxLines: 1000}
	if err := json.Unmarshal([]byte(config), &settings); err != nil {
		return failed(err.Error(), nil)
	}
	opened := artifacts.OpenBlob("text")
	if opened.IsErr() {
		return failed(opened.Err().Message, nil)
	}
	reader := opened.Ok()
	defer reader.Drop()
	var count struct {
		Bytes int `json:"bytes"`
		Lines int `json:"lines"`
	}
	for {
		read := reader.Read(65536)
		if read.IsErr() {
			return failed(read.Err().Message, nil)
		}
		chunk := read.Ok()
		if len(chunk) == 0 {
			break
		}
		count.Bytes += len(chunk)
		for _, b := range chunk {
			if b == '\n' {
				count.Lines++
			}
		}
	}
	log.Log("info", fmt.Sprintf("%d lines", count.Lines))
	if count.Lines > settings.MaxLines {
		finding := contract.Finding{
			Severity: "error",
			Message:  fmt.Sprintf("line %d is one too many", settings.MaxLines+1),
			Rule:     wit.Some("max-lines"),
		}
		message := fmt.Sprintf("%d lines, at most %d", count.Lines, settings.MaxLines)
		return failed(message, []contract.Finding{finding})
	}
	text, err := json.Marshal(count)
	if err != nil {
		return failed(err.Error(), nil)
	}
	created := artifacts.CreateBlob("count")
	if created.IsErr() {
		return failed(created.Err().Message, nil)
	}
	writer := created.Ok()
	defer writer.Drop()
	if written := writer.Write(append(text, '\n')); written.IsErr() {
		return failed(written.Err().Message, nil)
	}
	if finished := writer.Finish(); finished.IsErr() {
		return failed(finished.Err().Message, nil)
	}
	return wit.Ok[[]contract.Finding, contract.Failure](nil)
}

func failed(message string, findings []contract.Finding) wit.Result[[]contract.Finding, contract.Failure] {
	return wit.Err[[]contract.Finding](contract.Failure{Message: message, Findings: findings})
}
