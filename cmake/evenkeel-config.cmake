# find_package(evenkeel [version]) defines
#
#   evenkeel::shared, evenkeel::static   what is installed of the two
#   evenkeel::evenkeel                   the shared library where it is installed, else the static one
#
# Nothing here is an absolute path: the prefix is found from where this file lies, so the tree may be moved.
if(TARGET evenkeel::evenkeel)
  return()
endif()

get_filename_component(_evenkeel_prefix "${CMAKE_CURRENT_LIST_DIR}" REALPATH)
while(NOT EXISTS "${_evenkeel_prefix}/include/evenkeel.h")
  get_filename_component(_evenkeel_parent "${_evenkeel_prefix}" DIRECTORY)
  if(_evenkeel_parent STREQUAL _evenkeel_prefix)
    set(evenkeel_FOUND FALSE)
    set(evenkeel_NOT_FOUND_MESSAGE "no folder above ${CMAKE_CURRENT_LIST_DIR} holds include/evenkeel.h")
    return()
  endif()
  set(_evenkeel_prefix "${_evenkeel_parent}")
endwhile()

# _evenkeel_find(VARIABLE FILE): the file in one of the folders that libraries are installed to.
function(_evenkeel_find variable file)
  set(_found "")
  foreach(_dir lib "lib/${CMAKE_LIBRARY_ARCHITECTURE}" lib64)
    if(NOT _found AND EXISTS "${_evenkeel_prefix}/${_dir}/${file}")
      set(_found "${_evenkeel_prefix}/${_dir}/${file}")
    endif()
  endforeach()
  set(${variable} "${_found}" PARENT_SCOPE)
endfunction()

_evenkeel_find(_evenkeel_shared "${CMAKE_SHARED_LIBRARY_PREFIX}evenkeel${CMAKE_SHARED_LIBRARY_SUFFIX}")
_evenkeel_find(_evenkeel_static "${CMAKE_STATIC_LIBRARY_PREFIX}evenkeel${CMAKE_STATIC_LIBRARY_SUFFIX}")

if(_evenkeel_shared)
  add_library(evenkeel::shared SHARED IMPORTED)
  set_target_properties(evenkeel::shared PROPERTIES
    IMPORTED_LOCATION "${_evenkeel_shared}"
    INTERFACE_INCLUDE_DIRECTORIES "${_evenkeel_prefix}/include")
endif()
if(_evenkeel_static)
  include(CMakeFindDependencyMacro)
  find_dependency(Threads)
  add_library(evenkeel::static STATIC IMPORTED)
  set_target_properties(evenkeel::static PROPERTIES
    IMPORTED_LOCATION "${_evenkeel_static}"
    IMPORTED_LINK_INTERFACE_LANGUAGES C
    INTERFACE_INCLUDE_DIRECTORIES "${_evenkeel_prefix}/include"
    INTERFACE_LINK_LIBRARIES "Threads::Threads;${CMAKE_DL_LIBS};m;gcc_s")
endif()

set(_evenkeel_kind static)
if(_evenkeel_shared)
  set(_evenkeel_kind shared)
elseif(NOT _evenkeel_static)
  set(evenkeel_FOUND FALSE)
  set(evenkeel_NOT_FOUND_MESSAGE "${_evenkeel_prefix} holds neither library")
  return()
endif()
add_library(evenkeel::evenkeel INTERFACE IMPORTED)
set_target_properties(evenkeel::evenkeel PROPERTIES INTERFACE_LINK_LIBRARIES "evenkeel::${_evenkeel_kind}")
