// SYCO_CLONES before a function of plain loops: it is compiled for several generations of processors, and the loader
// picks one. Where these must give the same bits, its file is compiled with -ffp-contract=off.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(SYCO_PLAIN_KERNELS)
#define SYCO_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define SYCO_CLONES
#endif

// SYCO_INLINE before a helper of such functions: it is compiled as part of each.
#define SYCO_INLINE __attribute__((always_inline))
