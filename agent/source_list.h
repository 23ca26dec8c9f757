/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every format, a row each: X(name) is mr_source_<name> of source_<name>.c. Asked in this order;
 * the last one claims every file.
 */
#ifndef MR_AGENT_SOURCE_LIST_H
#define MR_AGENT_SOURCE_LIST_H

#define MR_SOURCES(X) \
    X(mrc)            \
    X(opaque)

#endif
