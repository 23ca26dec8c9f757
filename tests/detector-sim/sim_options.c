/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of millrace-sim. Checks every value and every pair that cannot go together;
 * opens and writes nothing. */
#include "sim_options.h"

#include "sim_stack.h"

#include "base/text.h"
#include "wire/pixel.h"
#include "wire/slab.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char help_before_formats[] =
    "Usage: millrace-sim --out DIR [OPTION]...\n"
    "Write movies as a camera does: growing files of counted frames with a drifting specimen.\n"
    "\n"
    "What to write\n"
    "  --out DIR             folder to write into; made where missing\n"
    "  --prefix NAME         names are NAME_0001.mrc, NAME_0002.mrc ...; may hold folders (movie)\n"
    "  --format F            ";
static const char help_after_formats[] =
    "  --mode M              MRC mode 0, 1, 2, 6, 12 or 101 (0)\n"
    "  --nx N, --ny N        pixels (5760, 4092)\n"
    "  --frames N            frames of a movie (40)\n"
    "  --movies N            movies, one after the other (1)\n"
    "  --fps R               frames a second; 0: as fast as it goes (75)\n"
    "  --pause S             seconds between two movies (0)\n"
    "  --dose E_PER_PIXEL    mean electrons per pixel and frame (0.5)\n"
    "  --drift PIXELS        how far the specimen moves during a movie (12)\n"
    "  --pixel-size A        angstrom per pixel (0.834)\n"
    "  --seed N              the same seed and options give the same bytes (1)\n"
    "  --truth FILE          write the drift of every frame there: path, frame, x, y\n"
    "  --mdoc                write SerialEM's NAME.mrc.mdoc after the close\n"
    "\n"
    "How cameras misbehave, and tests that wait\n"
    "  --nz-late             the header holds no frame count until right at the end\n"
    "  --abort-at K          the exposure ends after K frames; the header is put right\n"
    "  --stall K             nothing more is written after K frames; the file stays open until a\n"
    "                        signal, and is never put right\n"
    "  --no-final-header     the header is not rewritten at the end\n"
    "  --step                wait for a line on standard input before each frame\n"
    "  --hold[=WHERE]        keep the file open until a line comes on standard input; WHERE is\n"
    "                        frames (before the last header, the default) or header (after it)\n"
    "\n"
    "  --help, --version     say this, or the version, and exit\n"
    "\n"
    "One line per finished movie goes to standard output: path, bytes, frames, CRC-64/XZ of the\n"
    "pixels and of the file (a dash for the pixels of an opaque file), separated by tabs.\n"
    "SIGINT and SIGTERM end the exposure as an abort does.\n"
    "\n"
    "Exit status: 0 done, 64 wrong usage, 74 I/O error, 1 anything else. See millrace-sim(1).\n";

enum {
    OUT = 1,
    PREFIX,
    FORMAT,
    MODE,
    NX,
    NY,
    FRAMES,
    MOVIES,
    FPS,
    PAUSE,
    DOSE,
    DRIFT,
    PIXEL,
    SEED,
    TRUTH,
    MDOC,
    NZ_LATE,
    ABORT_AT,
    STALL,
    NO_FINAL,
    STEP,
    HOLD,
    HELP,
    VERSION
};

static const struct option long_options[] = {
    {"out", required_argument, NULL, OUT},
    {"prefix", required_argument, NULL, PREFIX},
    {"format", required_argument, NULL, FORMAT},
    {"mode", required_argument, NULL, MODE},
    {"nx", required_argument, NULL, NX},
    {"ny", required_argument, NULL, NY},
    {"frames", required_argument, NULL, FRAMES},
    {"movies", required_argument, NULL, MOVIES},
    {"fps", required_argument, NULL, FPS},
    {"pause", required_argument, NULL, PAUSE},
    {"dose", required_argument, NULL, DOSE},
    {"drift", required_argument, NULL, DRIFT},
    {"pixel-size", required_argument, NULL, PIXEL},
    {"seed", required_argument, NULL, SEED},
    {"truth", required_argument, NULL, TRUTH},
    {"mdoc", no_argument, NULL, MDOC},
    {"nz-late", no_argument, NULL, NZ_LATE},
    {"abort-at", required_argument, NULL, ABORT_AT},
    {"stall", required_argument, NULL, STALL},
    {"no-final-header", no_argument, NULL, NO_FINAL},
    {"step", no_argument, NULL, STEP},
    {"hold", optional_argument, NULL, HOLD},
    {"help", no_argument, NULL, HELP},
    {"version", no_argument, NULL, VERSION},
    {NULL, 0, NULL, 0},
};

static const struct mr_sim_options defaults = {
    .prefix = "movie",
    .nx = 5760,
    .ny = 4092,
    .frames = 40,
    .movies = 1,
    .fps = 75.0,
    .dose = 0.5,
    .drift = 12.0,
    .pixel_size = 0.834,
    .seed = 1,
    .abort_at = UINT32_MAX,
    .stall_at = UINT32_MAX,
};

static int whole(const char *name, const char *text, uint64_t min, uint64_t max, uint64_t *ret,
                 struct mr_err *err)
{
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || strchr(text, '-') != NULL || value < min ||
        value > max)
        return mr_err_set(err, -EINVAL, "--%s: '%s' is not a whole number from %llu to %llu", name,
                          text, (unsigned long long)min, (unsigned long long)max);
    *ret = value;
    return 0;
}

static int whole32(const char *name, const char *text, uint32_t min, uint32_t max, uint32_t *ret,
                   struct mr_err *err)
{
    uint64_t value = 0;
    int r = whole(name, text, min, max, &value, err);
    if (r == 0)
        *ret = (uint32_t)value;
    return r;
}

static int real(const char *name, const char *text, double max, double *ret, struct mr_err *err)
{
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(value) || value < 0.0 || value > max)
        return mr_err_set(err, -EINVAL, "--%s: '%s' is not a number from 0 to %g", name, text, max);
    *ret = value;
    return 0;
}

static int word(const char *name, const char *text, const char *const *words, unsigned *ret,
                struct mr_err *err)
{
    for (unsigned i = 0; words[i] != NULL; i++) {
        if (strcmp(text, words[i]) == 0) {
            *ret = i;
            return 0;
        }
    }
    return mr_err_set(err, -EINVAL, "--%s: unknown value '%s'", name, text);
}

static int set_mode(const char *text, int *ret, struct mr_err *err)
{
    static const char *const modes[] = {"0", "1", "2", "6", "12", "101", NULL};
    unsigned found = 0;
    int r = word("mode", text, modes, &found, err);
    if (r == 0)
        *ret = atoi(modes[found]);
    return r;
}

static int set_format(const char *text, const struct mr_sim_stack_ops **ret, struct mr_err *err)
{
    const struct mr_sim_stack_ops *format;
    for (size_t i = 0; (format = mr_sim_stack_at(i)) != NULL; i++)
        if (strcmp(text, format->name) == 0) {
            *ret = format;
            return 0;
        }
    return mr_err_set(err, -EINVAL, "--format: unknown value '%s'", text);
}

static int set_hold(const char *text, enum mr_sim_hold *ret, struct mr_err *err)
{
    static const char *const places[] = {"frames", "header", NULL};
    unsigned found = 0;
    int r = text == NULL ? 0 : word("hold", text, places, &found, err);
    if (r == 0)
        *ret = found == 0 ? MR_SIM_HOLD_FRAMES : MR_SIM_HOLD_HEADER;
    return r;
}

static void set_flag(int option, struct mr_sim_options *o)
{
    o->mdoc |= option == MDOC;
    o->nz_late |= option == NZ_LATE;
    o->no_final_header |= option == NO_FINAL;
    o->step |= option == STEP;
}

static int set_option(int option, const char *name, struct mr_sim_options *o, struct mr_err *err)
{
    switch (option) {
    case OUT:
        o->out = optarg;
        return 0;
    case PREFIX:
        o->prefix = optarg;
        return 0;
    case TRUTH:
        o->truth = optarg;
        return 0;
    case FORMAT:
        return set_format(optarg, &o->format, err);
    case MODE:
        return set_mode(optarg, &o->mode, err);
    case NX:
        return whole32(name, optarg, 1, MR_WIDTH_MAX, &o->nx, err);
    case NY:
        return whole32(name, optarg, 1, MR_HEIGHT_MAX, &o->ny, err);
    case FRAMES:
        return whole32(name, optarg, 0, INT32_MAX, &o->frames, err);
    case MOVIES:
        return whole32(name, optarg, 0, 9999999, &o->movies, err);
    case ABORT_AT:
        return whole32(name, optarg, 1, INT32_MAX, &o->abort_at, err);
    case STALL:
        return whole32(name, optarg, 0, INT32_MAX, &o->stall_at, err);
    case SEED:
        return whole(name, optarg, 0, UINT64_MAX, &o->seed, err);
    case FPS:
        return real(name, optarg, 1e6, &o->fps, err);
    case PAUSE:
        return real(name, optarg, 1e6, &o->pause_s, err);
    case DOSE:
        return real(name, optarg, 1000.0, &o->dose, err);
    case DRIFT:
        return real(name, optarg, 1e5, &o->drift, err);
    case PIXEL:
        return real(name, optarg, 1e6, &o->pixel_size, err);
    case HOLD:
        return set_hold(optarg, &o->hold, err);
    default:
        set_flag(option, o);
        return 0;
    }
}

/* True when a component of path is "..", or it is absolute: a prefix stays below --out. */
static bool leaves_folder(const char *path)
{
    if (path[0] == '/' || path[0] == '\0')
        return true;
    for (const char *at = path; at != NULL; at = strchr(at, '/') ? strchr(at, '/') + 1 : NULL)
        if (strncmp(at, "..", 2) == 0 && (at[2] == '/' || at[2] == '\0'))
            return true;
    return false;
}

static bool holds(const struct mr_sim_stack_ops *format, int mode)
{
    for (size_t i = 0; format->modes[i] >= 0; i++)
        if (format->modes[i] == mode)
            return true;
    return false;
}

/* "a, b and c": the formats that are so. */
static const char *names_of(bool (*is_so)(const struct mr_sim_stack_ops *), char *ret, size_t size)
{
    struct mr_text t = mr_text_init(ret, size);
    const struct mr_sim_stack_ops *format, *last = NULL;
    for (size_t i = 0; (format = mr_sim_stack_at(i)) != NULL; i++) {
        if (!is_so(format))
            continue;
        if (last != NULL)
            mr_text_appendf(&t, "%s%s", ret[0] == '\0' ? "" : ", ", last->name);
        last = format;
    }
    if (last != NULL)
        mr_text_appendf(&t, "%s%s", ret[0] == '\0' ? "" : " and ", last->name);
    return ret;
}

static bool has_count(const struct mr_sim_stack_ops *format)
{
    return format->has_count;
}

static bool may_be_empty(const struct mr_sim_stack_ops *format)
{
    return format->may_be_empty;
}

static int check_format(const struct mr_sim_options *o, struct mr_err *err)
{
    char names[128];
    if (!o->format->has_count && o->nz_late)
        return mr_err_set(err, -EINVAL, "--nz-late is for --format %s: no other has such a count",
                          names_of(has_count, names, sizeof(names)));
    if (!holds(o->format, o->mode))
        return mr_err_set(err, -EINVAL, "--format %s has no mode %d", o->format->name, o->mode);
    if (o->frames == 0 && !o->format->may_be_empty)
        return mr_err_set(err, -EINVAL, "--frames 0 makes no movie; only %s may be empty",
                          names_of(may_be_empty, names, sizeof(names)));
    return 0;
}

static int check(const struct mr_sim_options *o, struct mr_err *err)
{
    if (o->out == NULL)
        return mr_err_set(err, -EINVAL, "--out DIR is missing");
    if (leaves_folder(o->prefix))
        return mr_err_set(err, -EINVAL, "--prefix: '%s' leaves the folder", o->prefix);
    if (o->mode == 101 && o->nx % 2 != 0)
        return mr_err_set(err, -EINVAL,
                          "--mode 101 wants an even --nx: readers differ on odd rows");
    int r = check_format(o, err);
    if (r < 0)
        return r;
    uint64_t row = mr_pixel_row_bytes(mr_pixel_from_mrc_mode(o->mode), o->nx);
    if (row * o->ny > 1ull << 31)
        return mr_err_set(err, -EINVAL, "a frame of %u x %u is larger than 2 GiB", o->nx, o->ny);
    return o->format->judge == NULL ? 0 : o->format->judge(o, row * o->ny, err);
}

int mr_sim_options_help(FILE *out)
{
    const struct mr_sim_stack_ops *format;
    if (fputs(help_before_formats, out) < 0)
        return -errno;
    for (size_t i = 0; (format = mr_sim_stack_at(i)) != NULL; i++) {
        const char *open = format->help != NULL ? " (" : "", *close = open[0] != '\0' ? ")" : "";
        if (fprintf(out, "%s%s%s%s%s", i > 0 ? ", " : "", format->name, open,
                    format->help != NULL ? format->help : "", close) < 0)
            return -errno;
    }
    if (fprintf(out, " (%s)\n%s", mr_sim_stack_at(0)->name, help_after_formats) < 0)
        return -errno;
    return 0;
}

int mr_sim_options_parse(int argc, char **argv, struct mr_sim_options *ret,
                         enum mr_sim_request *ret_request, struct mr_err *err)
{
    struct mr_sim_options o = defaults;
    o.format = mr_sim_stack_at(0);
    enum mr_sim_request request = MR_SIM_RUN;
    int option, index = 0;
    optind = 1;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "", long_options, &index)) != -1) {
        if (option == '?')
            return mr_err_set(err, -EINVAL, "%s: unknown option or missing value",
                              argv[optind - 1]);
        if (option == HELP || option == VERSION) {
            request = option == HELP ? MR_SIM_HELP : MR_SIM_VERSION;
            continue;
        }
        int r = set_option(option, long_options[index].name, &o, err);
        if (r < 0)
            return r;
    }
    if (optind < argc)
        return mr_err_set(err, -EINVAL, "%s: unexpected argument", argv[optind]);
    int r = request == MR_SIM_RUN ? check(&o, err) : 0;
    if (r < 0)
        return r;
    *ret = o;
    *ret_request = request;
    return 0;
}
