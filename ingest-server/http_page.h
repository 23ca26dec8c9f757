/* SPDX-License-Identifier: Apache-2.0 */
/* The status page: one self-contained HTML text that polls /v1/status and shows what is in it. */
#ifndef MR_HTTP_PAGE_H
#define MR_HTTP_PAGE_H

extern const char mr_http_page[]; /* NUL-terminated */

#endif
