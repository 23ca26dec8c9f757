/* SPDX-License-Identifier: Apache-2.0 */
/* The mdoc of a movie: the keys SerialEM 4 writes for a K3, CRLF. Its presence means the stack is
 * closed. */
#include "sim_mdoc.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static void print_path(FILE *f, const char *path)
{
    const char *name = strrchr(path, '/');
    fprintf(f, "SubFramePath = X:\\frames\\%s\r\n", name != NULL ? name + 1 : path);
}

static void print_frame_set(const struct mr_sim_options *o, const char *path, uint32_t frames,
                            FILE *f)
{
    double per_area = o->dose / (o->pixel_size * o->pixel_size);
    char date[32];
    time_t now = time(NULL);
    struct tm local;
    localtime_r(&now, &local);
    (void)strftime(date, sizeof(date), "%d-%b-%Y  %H:%M:%S", &local);
    fprintf(f, "T = SerialEM: by millrace-sim\r\nVoltage = 300\r\n\r\n[FrameSet = 0]\r\n");
    fprintf(f, "TiltAngle = 0.01\r\nStagePosition = 297.14 42.6318\r\nStageZ = -17.481\r\n");
    fprintf(f, "Magnification = 105000\r\nExposureDose = %g\r\n", per_area * frames);
    fprintf(f, "DoseRate = %g\r\n", o->dose * o->fps);
    fprintf(f, "PixelSpacing = %g\r\nSpotSize = 7\r\nDefocus = -1.2\r\n", o->pixel_size);
    fprintf(f, "ExposureTime = %g\r\n", o->fps > 0.0 ? frames / o->fps : 0.0);
    fprintf(f, "Binning = 1\r\nCameraIndex = 1\r\nDividedBy2 = 0\r\nOperatingMode = 1\r\n");
    fprintf(f, "UsingCDS = 0\r\nCountsPerElectron = 1\r\nTargetDefocus = -1.2\r\n");
    print_path(f, path);
    fprintf(f, "NumSubFrames = %u\r\nFrameDosesAndNumber = %g %u\r\n", frames, per_area, frames);
    fprintf(f, "DateTime = %s\r\n", date);
}

int mr_sim_mdoc_write(const struct mr_sim_options *o, const char *path, uint32_t frames,
                      struct mr_err *err)
{
    char name[4096];
    if (snprintf(name, sizeof(name), "%s.mdoc", path) >= (int)sizeof(name))
        return mr_err_errno(err, -ENAMETOOLONG, "%s.mdoc", path);
    FILE *f = fopen(name, "we");
    if (f == NULL)
        return mr_err_errno(err, -errno, "%s", name);
    print_frame_set(o, path, frames, f);
    int failed = ferror(f);
    if (fclose(f) != 0 || failed)
        return mr_err_set(err, -EIO, "%s: could not be written", name);
    return 0;
}
