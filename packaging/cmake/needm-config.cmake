# SPDX-License-Identifier: MIT OR Apache-2.0
# find_package(needm 0.1) gives these targets:
#   needm::needm    the shared library if there is one, else the other
#   needm::shared   libneedm.so
#   needm::static   libneedm.a
include(CMakeFindDependencyMacro)
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_dependency(Threads)

# This file is in PREFIX/lib/cmake/needm, PREFIX/lib/ARCH/cmake/needm or PREFIX/share/cmake/needm.
set(_needm_above)
set(_needm_folder "${CMAKE_CURRENT_LIST_DIR}")
foreach(_needm_level RANGE 3)
    get_filename_component(_needm_folder "${_needm_folder}" DIRECTORY)
    list(APPEND _needm_above "${_needm_folder}")
endforeach()
list(REMOVE_AT _needm_above 0)

find_path(needm_INCLUDE_DIR needm.h PATHS ${_needm_above} PATH_SUFFIXES include
    NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH)
set(_needm_suffixes . lib "lib/${CMAKE_LIBRARY_ARCHITECTURE}" lib64)
find_library(needm_SHARED_LIBRARY libneedm.so PATHS ${_needm_above} PATH_SUFFIXES ${_needm_suffixes}
    NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH)
find_library(needm_STATIC_LIBRARY libneedm.a PATHS ${_needm_above} PATH_SUFFIXES ${_needm_suffixes}
    NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH)
# Elsewhere: an include or library folder that is not below the prefix.
find_path(needm_INCLUDE_DIR needm.h)
find_library(needm_SHARED_LIBRARY libneedm.so)
find_library(needm_STATIC_LIBRARY libneedm.a)
mark_as_advanced(needm_INCLUDE_DIR needm_SHARED_LIBRARY needm_STATIC_LIBRARY)

foreach(_needm_kind STATIC SHARED)
    if(needm_${_needm_kind}_LIBRARY)
        string(TOLOWER ${_needm_kind} _needm_name)
        if(NOT TARGET needm::${_needm_name})
            add_library(needm::${_needm_name} ${_needm_kind} IMPORTED)
            set_target_properties(needm::${_needm_name} PROPERTIES
                IMPORTED_LOCATION "${needm_${_needm_kind}_LIBRARY}"
                INTERFACE_INCLUDE_DIRECTORIES "${needm_INCLUDE_DIR}"
                INTERFACE_LINK_LIBRARIES Threads::Threads)
        endif()
        set(_needm_chosen needm::${_needm_name})
    endif()
endforeach()

if(NOT needm_INCLUDE_DIR OR NOT _needm_chosen)
    set(needm_FOUND FALSE)
    set(needm_NOT_FOUND_MESSAGE "needm.h or the library is not beside ${CMAKE_CURRENT_LIST_DIR}")
elseif(NOT TARGET needm::needm)
    add_library(needm::needm INTERFACE IMPORTED)
    set_target_properties(needm::needm PROPERTIES INTERFACE_LINK_LIBRARIES ${_needm_chosen})
endif()
