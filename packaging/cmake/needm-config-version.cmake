# SPDX-License-Identifier: MIT OR Apache-2.0
# Versions 0.N.x go together; a later x serves a program that asks for an earlier one.
set(PACKAGE_VERSION 0.1.0)
set(PACKAGE_VERSION_COMPATIBLE FALSE)
if(NOT PACKAGE_FIND_VERSION VERSION_GREATER PACKAGE_VERSION)
    string(REGEX MATCH "^[0-9]+(\\.[0-9]+)?" _needm_series "${PACKAGE_FIND_VERSION}")
    if(PACKAGE_FIND_VERSION_COUNT LESS 2 OR _needm_series VERSION_EQUAL "0.1")
        set(PACKAGE_VERSION_COMPATIBLE TRUE)
    endif()
    if(PACKAGE_FIND_VERSION VERSION_EQUAL PACKAGE_VERSION)
        set(PACKAGE_VERSION_EXACT TRUE)
    endif()
endif()
