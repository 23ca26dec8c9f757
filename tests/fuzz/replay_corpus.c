/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs every file of the given files and directories (and what lies below) through a fuzz target,
 * so that each decoder meets its corpus in every build, without libFuzzer. Finds nothing new by
 * itself.
 */
#include <fts.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static int compare(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

/* The input lies in memory of its exact size, so that AddressSanitizer sees one byte too far. */
static int run_file(const char *path, size_t bytes)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(bytes > 0 ? bytes : 1);
    if (file == NULL || data == NULL || fread(data, 1, bytes, file) != bytes) {
        fprintf(stderr, "%s: cannot be read\n", path);
        exit(EXIT_FAILURE);
    }
    fclose(file);
    int r = LLVMFuzzerTestOneInput(data, bytes);
    free(data);
    return r;
}

int main(int argc, char **argv)
{
    char *none[] = {NULL};
    FTS *tree = fts_open(argc > 1 ? argv + 1 : none, FTS_PHYSICAL | FTS_NOCHDIR, compare);
    size_t count = 0;
    for (FTSENT *entry; tree != NULL && (entry = fts_read(tree)) != NULL;) {
        if (entry->fts_info == FTS_F) {
            (void)run_file(entry->fts_path, (size_t)entry->fts_statp->st_size);
            count++;
        } else if (entry->fts_info == FTS_NS || entry->fts_info == FTS_ERR ||
                   entry->fts_info == FTS_DNR) {
            fprintf(stderr, "%s: %s\n", entry->fts_path, strerror(entry->fts_errno));
            return EXIT_FAILURE;
        }
    }
    if (tree != NULL)
        fts_close(tree);
    printf("%zu inputs\n", count);
    /* a corpus that got lost must not look like a corpus that passed */
    return count > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
