// {{what}}
//
// `plugin.h` is made of the contract by `lockgate plugin build`; it lies in target/lockgate/work/bindings. What the host gives and what it
// takes is on the heap: the bindings free what is returned.

#include "plugin.h"

#include <stdlib.h>
#include <string.h>

static const char CONFIG[] =
    "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{\"max_lines\":{\"type\":\"integer\",\"minimum\":0,"
    "\"maximum\":1000000000,\"default\":1000,\"description\":\"the most lines that a text may have\"}}}";
static const uint64_t MAX_LINES = 1000;

// A text on the heap, for the host to read and the bindings to free.
static plugin_string_t text(const char *from) {
    plugin_string_t to;
    plugin_string_dup(&to, from);
    return to;
}

// A text that is only lent to a call.
static plugin_string_t lent(const char *from) {
    plugin_string_t to;
    plugin_string_set(&to, from);
    return to;
}

static types_list_port_t one_port(const char *name, const char *summary) {
    types_port_t *port = malloc(sizeof *port);
    if (port == NULL) abort();
    *port = (types_port_t){.name = text(name), .kind = text("blob"), .optional = false, .summary = text(summary)};
    return (types_list_port_t){.ptr = port, .len = 1};
}

// What this plugin is. Asked before anything runs: it must answer the same each time, and can call nothing.
void exports_plugin_describe(plugin_manifest_t *manifest) {
    *manifest = (plugin_manifest_t){
        .name = text("{{name}}"),
        .version = text("0.1.0"),
        .summary = text("{{what}}"),
        .config_schema = text(CONFIG),
        .inputs = {.named = one_port("text", "what is counted")},
        .outputs = {.named = one_port("count", "bytes and lines, as JSON")},
    };
}

// A number in decimal behind a text.
static char *append(char *to, const char *before, uint64_t number) {
    size_t length = strlen(before);
    memcpy(to, before, length);
    to += length;
    char digits[20];
    size_t count = 0;
    do {
        digits[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    while (count > 0) *to++ = digits[--count];
    *to = '\0';
    return to;
}

// The one number of the config. The engine has held it against the schema: it is `{}` or has this member alone.
static uint64_t max_lines(const plugin_string_t *config) {
    uint64_t number = 0;
    bool found = false;
    for (size_t i = 0; i < config->len; i += 1) {
        uint8_t byte = config->ptr[i];
        if (byte >= '0' && byte <= '9') {
            number = number * 10 + (byte - '0');
            found = true;
        }
    }
    return found ? number : MAX_LINES;
}

// Fails with what the host said.
static bool failed(artifacts_error_t *error, plugin_failure_t *failure) {
    *failure = (plugin_failure_t){.message = error->message};
    error->message = (plugin_string_t){0};
    artifacts_error_free(error);
    return false;
}

static bool too_long(uint64_t lines, uint64_t most, plugin_failure_t *failure) {
    char message[96];
    append(append(message, "", lines), " lines, at most ", most);
    char found[96];
    memcpy(append(found, "line ", most + 1), " is one too many", sizeof " is one too many");
    plugin_finding_t *finding = malloc(sizeof *finding);
    if (finding == NULL) abort();
    *finding = (plugin_finding_t){
        .severity = text("error"),
        .message = text(found),
        .rule = {.is_some = true, .val = text("max-lines")},
    };
    *failure = (plugin_failure_t){.message = text(message), .findings = {.ptr = finding, .len = 1}};
    return false;
}

// Does the work: true with findings, or false with why it failed.
bool exports_plugin_run(plugin_string_t *config, plugin_list_finding_t *findings, plugin_failure_t *failure) {
    artifacts_error_t error;
    artifacts_own_reader_t reader;
    plugin_string_t name = lent("text");
    if (!artifacts_open_blob(&name, &reader, &error)) return failed(&error, failure);
    uint64_t bytes = 0, lines = 0;
    for (;;) {
        plugin_list_u8_t chunk;
        if (!artifacts_method_reader_read(artifacts_borrow_reader(reader), 65536, &chunk, &error)) {
            return failed(&error, failure);
        }
        if (chunk.len == 0) break;
        bytes += chunk.len;
        for (size_t i = 0; i < chunk.len; i += 1) lines += chunk.ptr[i] == '\n';
        plugin_list_u8_free(&chunk);
    }
    artifacts_reader_drop_own(reader);

    char line[96];
    memcpy(append(line, "", lines), " lines", sizeof " lines");
    plugin_string_t level = lent("info"), message = lent(line);
    log_log(&level, &message);

    uint64_t most = max_lines(config);
    plugin_string_free(config);
    if (lines > most) return too_long(lines, most, failure);

    artifacts_own_writer_t writer;
    name = lent("count");
    if (!artifacts_create_blob(&name, &writer, &error)) return failed(&error, failure);
    char *end = append(append(line, "{\"bytes\":", bytes), ",\"lines\":", lines);
    memcpy(end, "}\n", sizeof "}\n");
    plugin_list_u8_t written = {.ptr = (uint8_t *)line, .len = strlen(line)};
    artifacts_borrow_writer_t to = artifacts_borrow_writer(writer);
    if (!artifacts_method_writer_write(to, &written, &error)) return failed(&error, failure);
    if (!artifacts_method_writer_finish(to, &error)) return failed(&error, failure);
    artifacts_writer_drop_own(writer);
    *findings = (plugin_list_finding_t){0};
    return true;
}
