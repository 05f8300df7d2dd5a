#include "../measure.h"
#include <stddef.h>

void peer_call(void);

int main(void) {
    measure(peer_call, NULL);
    return 0;
}
